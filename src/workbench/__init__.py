"""The cohesion workbench: how far did local social-cohesion projects shift perceived insecurity?"""

__version__ = "0.1.0"
