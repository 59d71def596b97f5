module finfocus.com/stand-in/pause

go 1.22
