"""The HMaster: arrives with the standalone server; the embedded catalogue is ``hyperbase.embedded``."""
