"""The HMaster's package. Its first module arrives with the standalone server; the embedded catalogue lives in ``hyperbase.embedded``."""
