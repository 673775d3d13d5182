import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { defaultConfig } from '../../agent/config/config.ts';
import { CurrentStatus } from '../../agent/status/current.ts';
import { publish } from '../../agent/status/publish.ts';
import { statusDocument, withFindings } from '../../agent/status/status-document.ts';
import { scratch } from '../support/temp-tree.ts';
import { aRun, finding, later } from './a-run.ts';

describe('the status of the daemon', () => {
  it("goes on after READY: phase, what was found out later, what docker.service's drop-in has published", (t) => {
    const config = { ...defaultConfig(), statusSocket: `${scratch(t)}/run/s.sock` };
    const run = aRun(t);
    const first = statusDocument(run, later(run, 7));
    const current = new CurrentStatus(config, first, undefined);
    assert.deepEqual(current.document, first);
    current.enter('watch');
    current.setDockerd('28.5');
    assert.partialDeepStrictEqual(current.document, { phase: 'watch', state: 'ok', versions: { dockerd: '28.5' } });
    assert.ok(current.document.phaseSinceUsec > 0 && !Number.isNaN(Date.parse(current.document.phaseSince)));
    current.add(finding('DATA_ROOT_DIFFERS', 'elsewhere'));
    assert.partialDeepStrictEqual(current.document, {
      state: 'degraded',
      summary: `degraded: elsewhere; ${first.summary.slice('ok: '.length)}`,
    });
    publish(config, { ...first, changes: 77 }, 'run');
    assert.partialDeepStrictEqual(JSON.parse(current.text), { changes: 77, state: 'degraded', phase: 'watch' });
    // One that was worse already stays what it is.
    assert.equal(withFindings({ ...first, state: 'failed' }, [finding('DATA_ROOT_DIFFERS')]).state, 'failed');
  });
});
