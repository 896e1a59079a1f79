# The leader dies when the last checkpoint is complete and its output is not committed yet. The next
# one hears what went through the job with the registrations, and ends it before any beat.

quiet
leader start
tm add tm-1 slots=1
tm add tm-2 slots=1
submit wordcount parallelism=2 interval=10s
until wordcount RUNNING
tm hold tm-1 committed
tm hold tm-2 committed
loud
tm at-end tm-1
tm at-end tm-2
run 100ms
leader kill
tm release tm-1 committed
tm release tm-2 committed
run 100ms
leader start
until wordcount FINISHED
show wordcount
----
