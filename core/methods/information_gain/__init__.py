"""Information-gain filtration (Antonello, Beckage, Turek and Huth 2021): train on contexts that promise to help."""
