"""The rooms behind `report.ipynb`: one stage each, in the order in which the report passes through them."""
