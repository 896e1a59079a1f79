#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "cli/local_process.h"

/* A drill kills by this: a process whose name only begins alike is not the one. */
Test(local_process, a_program_is_known_by_its_whole_name)
{
	int pid = getpid();
	cr_assert(prctl(PR_SET_NAME, "weir") == 0);
	cr_expect(local_process_runs(pid, "weir"));
	cr_expect(not(local_process_runs(pid, "weir-jobmanager")));
	cr_assert(prctl(PR_SET_NAME, "weir-jobmanager") == 0);
	cr_expect(local_process_runs(pid, "weir-jobmanager"));
	cr_expect(not(local_process_runs(pid, "weir")));
	cr_assert(prctl(PR_SET_NAME, "weir-taskmanager") == 0); /* cut by the kernel */
	cr_expect(local_process_runs(pid, "weir-taskmanager"));
	cr_expect(not(local_process_runs(pid, "weir-jobmanager")));
	cr_expect(not(local_process_runs(0x7fffffff, "weir")));
}

Test(local_process, is_found_by_pid_and_start)
{
	struct local_process p;
	cr_assert(eq(int, local_process_find(getpid(), &p, NULL), ERR_OK));
	cr_expect(local_process_alive(&p));
	p.start++;
	cr_expect(not(local_process_alive(&p)));
}
