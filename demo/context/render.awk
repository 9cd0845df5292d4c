# Text to HTML: the first line is the title, empty lines separate paragraphs.
NR == 1 { printf "<html><head><title>%s</title></head><body><h1>%s</h1><p>\n", $0, $0; next }
/^$/ { print "</p><p>"; next }
{ print }
END { print "</p></body></html>" }
