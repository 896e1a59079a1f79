/* An empty shared library around one whole folder: it links only if the arrows hold. */
extern int weir_arrow;
int weir_arrow = 0;
