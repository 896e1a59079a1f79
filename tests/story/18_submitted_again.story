# The answer to a submission was lost, the job ended, and the leader changed: the client submits the
# same again at once, before the new leader has read what ended. It is the same job, and no conflict.

quiet
leader start
tm add tm-1 slots=2
submit wordcount parallelism=2
until wordcount RUNNING
cancel wordcount
until wordcount CANCELED
leader kill
leader start
loud
submit wordcount parallelism=2
submit wordcount parallelism=2
cancel wordcount
run 100ms
show wordcount
----
[   0.046s] answer: OK
[   0.046s] answer: OK
[   0.046s] answer: UNAVAILABLE: this job is being looked up
[   0.052s] tm=tm-1 registered: 2 slots, 1 attempts
[   0.053s]   tm-1 <- cancel attempt=1 terminal
[   0.114s] storage removes jobs/a.../
  status=CANCELED attempt=1 restarts=0 counted=0 newest=0 committed=0 failures=0

# Another specification under its id is one.

quiet
leader kill
leader start
loud
submit wordcount parallelism=1
run 100ms
----
[   0.146s] answer: EXISTS: jobId: a job with this id exists or existed
[   0.152s] tm=tm-1 registered: 2 slots, 0 attempts
