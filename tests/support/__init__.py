"""What tests of all rooms share: installations on a broker, builders of values, servers on loopback."""
