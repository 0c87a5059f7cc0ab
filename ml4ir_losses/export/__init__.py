"""Models in the formats of other runtimes, each compared with Keras before it is called done."""
