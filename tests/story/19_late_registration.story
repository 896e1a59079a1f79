# A registration that its TaskManager gave up comes behind a later one: what it says of the tasks was
# true long ago. They do not go back, and nobody restarts.

quiet
leader start
tm add tm-1 slots=1
tm add tm-2 slots=1
submit wordcount parallelism=2 interval=10s
until wordcount RUNNING
run 1s
loud
tm late tm-1
run 500ms
show wordcount
----
[   1.043s] tm=tm-1 registered: 1 slots, 1 attempts
[   1.043s] tm=tm-1 command stream ended: 1000 ms to come back
[   1.143s] tm=tm-1 registered: 1 slots, 1 attempts
  status=RUNNING attempt=1 restarts=0 counted=0 newest=0 committed=0 failures=0

# The same when the sources are at their end already.

quiet
tm hold tm-1 ack
tm at-end tm-1
tm at-end tm-2
run 20ms
loud
tm late tm-1
run 500ms
tm release tm-1 ack
until wordcount FINISHED
show wordcount
----
[   1.563s] tm=tm-1 registered: 1 slots, 1 attempts
[   1.563s] tm=tm-1 command stream ended: 1000 ms to come back
[   1.663s] tm=tm-1 registered: 1 slots, 1 attempts
[   1.664s]   tm-1 <- trigger attempt=1 ckpt=1
[   2.102s] job=wordcount/aaaaaaaa ckpt=1 completed: 2 objects, 2000 bytes
[   2.103s]   tm-1 <- complete attempt=1 ckpt=1
[   2.103s]   tm-2 <- complete attempt=1 ckpt=1
[   2.111s] job=wordcount/aaaaaaaa FINISHING -> FINISHED: its last output is committed
  status=FINISHED attempt=1 restarts=0 counted=0 newest=1 committed=1 failures=0
