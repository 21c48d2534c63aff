"""The HMaster. Its modules arrive with the standalone server; the embedded catalogue is ``hyperbase.embedded``."""
