import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { cleanUpAll } from '../support/cleanup.ts';
import { type Call, type Fault, recordCalls, runWithFault } from './injection.ts';
import { Bench, dockerdProblems, makeScenarios, type Scenario } from './scenarios.ts';
import { sample, spread, torture } from '../support/size.ts';
import { storeProblems } from './store-invariants.ts';
import { differences, readTree, type Tree } from '../support/tree.ts';

/** How many points of a scenario are tried in `npm test`, by fault; with DPL_TORTURE=1 it is every one. */
const POINTS = { KILL: 16, EIO: 4, ENOSPC: 4 } as const satisfies Record<Fault, number>;
/**
 * On how many of these dockerd is started: on every one that a kill has left, and on some after an error, in the full
 * size.
 */
const DOCKERDS = {
  KILL: torture ? Number.POSITIVE_INFINITY : 2,
  EIO: torture ? 20 : 0,
  ENOSPC: torture ? 20 : 0,
} as const satisfies Record<Fault, number>;

let bench: Bench;
let scenarios: readonly Scenario[];
let disks: Readonly<Record<'disk' | 'upgrade', string>>;
before(async () => {
  bench = await Bench.make();
  const made = await makeScenarios(bench);
  scenarios = made.scenarios;
  disks = made.content;
});
after(cleanUpAll);

for (const name of ['first boot', 'upgrade', 'detach'] as const) {
  describe(
    `a fault at any call that changes the store, at ${name === 'first boot' ? 'a' : 'an'} ${name}`.replace(
      'an detach',
      'a detach',
    ),
    () => {
      let scenario: Scenario;
      let calls: readonly Call[];
      let undisturbed: Tree;

      before(async () => {
        scenario = scenarios.find((one) => one.name === name) ?? assert.fail(name);
        await bench.attach(scenario.disk && disks[scenario.disk]);
        await bench.restore(scenario.prepared);
        calls = await recordCalls(bench.config, bench.dataRoot, path.join(bench.folder, 'strace.log'));
        undisturbed = readTree(bench.dataRoot, 'digest');
        assert.ok(calls.length > 30, `expected calls that change the store, found ${calls.length}`);
        assert.deepEqual(storeProblems(bench.dataRoot, scenario.user), []);
      });

      for (const fault of ['KILL', 'EIO', 'ENOSPC'] as const) {
        it(`costs nothing of the user's, and the next run brings the store to the same state: ${fault}`, async (test) => {
          // Killed before a call that fails anyway, the store is as before the call after it.
          const all = calls.filter((call) => (fault === 'KILL' ? !call.failed : canFail(call)));
          const chosen = new Set(sample(all, POINTS[fault]));
          // The one file that dockerd cannot start without is never left to chance.
          const points = all.filter(
            (call) => chosen.has(call) || (fault === 'KILL' && call.text.includes('/repositories.json')),
          );
          const withDockerd = new Set(spread(points, DOCKERDS[fault]));
          const problems: string[] = [];
          for (const call of points)
            problems.push(...(await tryPoint(scenario, call, fault, undisturbed, withDockerd.has(call))));
          test.diagnostic(
            `${name}, ${fault}: ${calls.length} calls change the store, ${points.length} points tried, ${withDockerd.size} with dockerd`,
          );
          assert.deepEqual(problems, []);
        });
      }
    },
  );
}

/** Letting go of a mount does not fail with these errors. */
function canFail(call: Call): boolean {
  return call.name !== 'umount2';
}

/** What a step has begun and not brought to its end. */
function leftBehind(tree: Tree): string[] {
  return [...tree.keys()].filter((file) => /\.docker-preloader$|\/layerdb\/tmp\/./.test(file));
}

async function tryPoint(
  scenario: Scenario,
  call: Call,
  fault: Fault,
  undisturbed: Tree,
  withDockerd: boolean,
): Promise<string[]> {
  const at = `${fault} at ${call.name} ${call.index} (${call.text.slice(0, 300)})`;
  const log = path.join(bench.folder, 'strace.log');
  await bench.restore(scenario.prepared);
  const outcome = await runWithFault(bench.config, log, call, fault);
  if (!outcome.struck) return [`${at}: the fault did not strike`];
  const problems: string[] = [];
  // strace ends as the process that it follows does.
  if (fault !== 'KILL' && ![0, 1, 3].includes(outcome.exitCode ?? -1))
    problems.push(`expected exit status 0, 1 or 3, found ${String(outcome.exitCode)}: ${outcome.all}`);
  problems.push(...storeProblems(bench.dataRoot, scenario.user));
  // What cannot be removed stays until the next run.
  if (fault !== 'KILL' && !/^(unlink|rmdir)/.test(call.name))
    problems.push(...leftBehind(readTree(bench.dataRoot, 'digest')).map((file) => `left behind: ${file}`));
  if (withDockerd) {
    const kept = await bench.keep('struck');
    problems.push(...(await dockerdProblems(bench, scenario)).map((problem) => `dockerd: ${problem}`));
    await bench.restore(kept);
  }
  try {
    await bench.apply();
    problems.push(
      ...differences(undisturbed, readTree(bench.dataRoot, 'digest')).map((line) => `after the next run: ${line}`),
    );
  } catch (error) {
    problems.push(`the next run: ${String(error)}`);
  }
  return problems.map((problem) => `${at}: ${problem}`);
}
