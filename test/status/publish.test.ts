import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { defaultConfig } from '../../agent/config/config.ts';
import { CurrentStatus } from '../../agent/status/current.ts';
import { statusDocument } from '../../agent/status/status-document.ts';
import { bootRecord, hasBeenReady, withBootTimes } from '../../agent/status/boot-times.ts';
import { lastStatus, publish, publishedStatus } from '../../agent/status/publish.ts';
import type { StatusDocument } from '../../agent/status/schema.ts';
import { scratch } from '../support/temp-tree.ts';
import { aRun } from './a-run.ts';

describe('the published status', () => {
  it("is in files that everybody may read, and the boot's times stay", (t) => {
    const config = { ...defaultConfig(), statusSocket: path.join(scratch(t), 'run/status.sock') };
    const run = aRun(t);
    assert.equal(hasBeenReady(config), false);
    publish(config, statusDocument(run, 1_000_000), 'run');
    assert.equal(hasBeenReady(config), true);
    publish(config, statusDocument(run, 2_000_000), 'run');
    const folder = path.dirname(config.statusSocket);
    assert.equal((JSON.parse(publishedStatus(config) ?? '') as StatusDocument).readyUsec, 2_000_000);
    assert.equal(
      (JSON.parse(readFileSync(path.join(folder, 'boot.json'), 'utf8')) as StatusDocument).readyUsec,
      1_000_000,
    );
    for (const name of ['status.json', 'metrics.prom', 'boot.json'])
      assert.equal(statSync(path.join(folder, name)).mode & 0o777, 0o644);
  });

  it('of an earlier boot is none of this one, and a damaged record neither', (t) => {
    const config = { ...defaultConfig(), statusSocket: path.join(scratch(t), 'run/status.sock') };
    const file = path.join(path.dirname(config.statusSocket), 'boot.json');
    const run = aRun(t);
    publish(config, statusDocument(run, 1_000_000), 'run');
    const record = JSON.parse(readFileSync(file, 'utf8')) as object;
    for (const text of [
      JSON.stringify({ ...record, boot: 'another' }),
      JSON.stringify({ ...record, boot: undefined }),
      '',
      '{',
      'null',
      '5',
      '\0\0',
    ]) {
      writeFileSync(file, text);
      assert.deepEqual(
        [hasBeenReady(config), publishedStatus(config), lastStatus(config)],
        [false, undefined, undefined],
        text,
      );
      assert.equal(withBootTimes(config, statusDocument(run, 3_000_000)).readyUsec, 3_000_000);
      publish(config, statusDocument(run, 2_000_000), 'run');
      assert.equal((JSON.parse(readFileSync(file, 'utf8')) as StatusDocument).readyUsec, 2_000_000);
    }
  });

  it('that was damaged does not count, whatever is in its place', (t) => {
    const config = { ...defaultConfig(), statusSocket: path.join(scratch(t), 'run/status.sock') };
    const file = path.join(path.dirname(config.statusSocket), 'status.json');
    const status = statusDocument(aRun(t), 1_000_000);
    publish(config, status, 'run');
    assert.deepEqual(lastStatus(config), JSON.parse(JSON.stringify(status)));
    for (const damaged of [
      '',
      '{}',
      'null',
      '[]',
      '5',
      JSON.stringify({ ...status, findings: undefined }),
      JSON.stringify({ ...status, images: [null] }),
      JSON.stringify({ ...status, disks: {} }),
    ]) {
      writeFileSync(file, damaged);
      assert.equal(lastStatus(config), undefined, damaged);
      const current = new CurrentStatus(config, status, undefined);
      writeFileSync(file, `${damaged} `);
      assert.deepEqual(current.found, status, damaged);
      assert.equal(JSON.parse(current.text).state, status.state);
    }
    rmSync(file);
    mkdirSync(file);
    assert.deepEqual([publishedStatus(config), lastStatus(config)], [undefined, undefined]);
  });

  it('notes that a daemon was there, once one was, and keeps the times of the first', (t) => {
    const config = { ...defaultConfig(), statusSocket: path.join(scratch(t), 'run/status.sock') };
    const told: unknown[] = [];
    for (const [command, readyUsec] of [
      ['apply', 1],
      ['apply', 2],
      ['run', 3],
      ['apply', 4],
      ['run', 5],
    ] as const) {
      publish(config, statusDocument(aRun(t), readyUsec), command);
      const record = bootRecord(config);
      told.push([record?.command, record?.readyUsec]);
    }
    assert.deepEqual(told, [
      ['apply', 1],
      ['apply', 1],
      ['run', 1],
      ['run', 1],
      ['run', 1],
    ]);
  });

  it('that cannot be written is no failure', (t) => {
    const folder = scratch(t);
    writeFileSync(path.join(folder, 'run'), 'a file where a folder belongs');
    const config = { ...defaultConfig(), statusSocket: path.join(folder, 'run/status.sock') };
    assert.equal(publish(config, statusDocument(aRun(t), 1), 'run'), undefined);
    assert.deepEqual(readdirSync(folder), ['run']);
  });
});
