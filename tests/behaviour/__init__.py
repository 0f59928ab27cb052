"""What the pipeline relies on in its Source and its Sink, asked of the real ones and of the fakes.

The simulation is worth as much as its fakes are like the real ones: what holds here holds in both.
"""
