# A snapshot that cannot be read stops the job: an older one could repeat
# output that is already committed. The exception names the object.

quiet
leader start
tm add tm-1 slots=2
submit wordcount parallelism=2 interval=1s retained=2
until wordcount RUNNING
run 3s
loud
tm hold tm-1 running
tm fail tm-1 text=out_of_memory
run 400ms
tm fail tm-1 corrupt=yes text=jobs/a/chk-3/0-1-tm-1.snap:_checksum_differs
run 200ms
show wordcount
store show
----
[   3.033s] job=wordcount/aaaaaaaa RUNNING -> RESTARTING: out of memory
[   3.036s] job=wordcount/aaaaaaaa region 0 attempt 2 recorded, restores checkpoint 2, delay 100 ms: out of memory
[   3.037s]   tm-1 <- cancel attempt=1 ckpt=2
[   3.133s] job=wordcount/aaaaaaaa RESTARTING -> WAITING: needs slots
[   3.136s] job=wordcount/aaaaaaaa region 0 attempt 2 placed: tm-1 x2
[   3.136s] job=wordcount/aaaaaaaa WAITING -> DEPLOYING: slots are taken
[   3.137s]   tm-1 <- prepare attempt=2
[   3.143s]   tm-1 <- run attempt=2 ckpt=2
[   3.433s] job=wordcount/aaaaaaaa DEPLOYING -> RESTARTING: jobs/a/chk-3/0-1-tm-1.snap: checksum differs
[   3.436s] job=wordcount/aaaaaaaa RESTARTING -> FAILING: jobs/a/chk-3/0-1-tm-1.snap: checksum differs (not restarted: an older checkpoint could repeat committed output)
[   3.439s] job=wordcount/aaaaaaaa FAILING -> FAILED: jobs/a/chk-3/0-1-tm-1.snap: checksum differs (not restarted: an older checkpoint could repeat committed output)
[   3.440s]   tm-1 <- cancel attempt=2 ckpt=2 terminal
  status=FAILED attempt=2 restarts=1 counted=1 newest=2 committed=2 failures=2
  run/_cluster
  done/aaaaaaaa
