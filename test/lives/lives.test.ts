import { availableParallelism } from 'node:os';
import { after, before, describe, it } from 'node:test';
import { cleanUpAll } from '../support/cleanup.ts';
import { dockerdVersions } from '../support/dockerd-version.ts';
import { seed } from '../support/seed.ts';
import { torture } from '../support/size.ts';
import { live } from './life.ts';
import { makeUniverse, type Universe } from './universe.ts';

// A life waits for its daemons more than half of the time.
const count = Number(process.env['DPL_RUNS'] ?? (torture ? 500 : 15));

describe(
  `random lives from seed ${seed}: DPL_SEED=${seed} lives them again, DPL_RUNS=1 the first of them alone`,
  { concurrency: 2 * availableParallelism() },
  () => {
    let universe: Universe;
    before(async () => {
      universe = await makeUniverse();
    });
    after(cleanUpAll);

    for (let number = seed; number < seed + count; number += 1) {
      const version = dockerdVersions[number % dockerdVersions.length] ?? '28.5';
      it(`life ${number} on dockerd ${version}`, () => live(number, version, universe, 14));
    }
  },
);
