"""Small models of many architectures, for the tests of the graph layer and for the conformance tests."""
