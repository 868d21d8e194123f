"""Jobs that look at the neurons of parents: measure and group them, draw them, find out about one."""
