import { torture } from './size.ts';

/** The longest test file, which boots some twenty machines, takes six minutes. */
const LIMIT_MINUTES = 15;
const CLEAN_UP_SECONDS = 60;

/**
 * Loaded before each test file (`test/run.ts`): ends it with its own words where it is not over in time. Node waits for
 * a test that never settles, and for a child process that a failed test has left, without a limit, and then nobody sees
 * which test it was.
 */
const isTestFile = process.env['NODE_TEST_CONTEXT'] !== undefined;
if (isTestFile && !torture)
  setTimeout(() => {
    const open = process.getActiveResourcesInfo().join(', ');
    console.error(`expected this test file to be over within ${LIMIT_MINUTES} min, found still open: ${open}`);
    // What it has registered to be undone goes first.
    process.kill(process.pid, 'SIGTERM');
    setTimeout(() => process.exit(1), CLEAN_UP_SECONDS * 1000).unref();
  }, LIMIT_MINUTES * 60_000).unref();
