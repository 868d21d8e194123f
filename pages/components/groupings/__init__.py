"""How good groupings are: the verdict, the groups as a table, the network as a map, scores and groupings compared."""
