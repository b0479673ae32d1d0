"""The networks: images in, logits of FAKE out; their sizes; their files."""
