/* Lets the workload say what callgrind counts: see in_process.py. */
#include <valgrind/callgrind.h>

void start(void)
{
    CALLGRIND_START_INSTRUMENTATION;
}

void stop(void)
{
    CALLGRIND_STOP_INSTRUMENTATION;
}
