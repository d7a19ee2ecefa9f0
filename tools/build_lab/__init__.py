"""How the lab's students are made: what they read, how they are pretrained, and the model cards that measure them.

Nothing in the package needs this: the checkpoints are shipped. `notebooks/lab/build_lab.ipynb` calls it.
"""
