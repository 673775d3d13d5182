import assert from 'node:assert/strict';
import path from 'node:path';
import { describe, it } from 'node:test';
import { execa } from 'execa';

const root = path.resolve(import.meta.dirname, '../..');

/** Prints what is loaded, one a line, in a process of its own. */
const hooks = `
  import { registerHooks } from 'node:module';
  registerHooks({ load(url, context, next) { if (/^file:.*[.][cm]?[jt]s$/.test(url)) process.stdout.write(url + '\\n'); return next(url, context); } });`;

/** What loading a module of ours loads, relative to agent/, or as a package's name; each once, sorted. */
async function loadedBy(file: string): Promise<string[]> {
  const { stdout } = await execa(process.execPath, ['--disable-warning=ExperimentalWarning', '--import', `data:text/javascript,${encodeURIComponent(hooks)}`, '--input-type=module', '--eval', `await import(${JSON.stringify(path.join(root, 'agent', file))})`], { cwd: root });
  const names = stdout.split('\n').map((url) => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1] ?? url.slice(url.indexOf('/agent/') + '/agent/'.length));
  return [...new Set(names)].toSorted();
}

/** Each costs every boot. What is needed only after READY, or only with a configuration file, is imported when it is needed. */
const toReady = [
  'boot/apply.ts', 'boot/catalogue.ts', 'boot/check.ts', 'boot/config.ts', 'boot/copy-tar-split.ts', 'boot/discover.ts', 'boot/distribution.ts',
  'boot/image-steps.ts', 'boot/layer-records.ts', 'boot/layer-steps.ts', 'boot/ledger.ts', 'boot/missing-disks.ts', 'boot/mount.ts', 'boot/pin-steps.ts', 'boot/plan-with-room.ts', 'boot/plan.ts', 'boot/preload.ts',
  'boot/references.ts', 'boot/removals.ts', 'boot/required-digests.ts', 'boot/restored.ts', 'boot/room.ts', 'boot/store-lock.ts', 'boot/timings.ts', 'boot/wait.ts', 'commands/run.ts',
  'disk/disk-fault.ts', 'disk/finding.ts', 'disk/label.ts', 'disk/limits.ts', 'disk/manifest.ts', 'disk/reader.ts', 'disk/tree.ts', 'docker/daemon-config.ts',
  'docker/ids.ts', 'docker/image-config.ts', 'docker/instance.ts', 'docker/json.ts', 'docker/layer-db.ts', 'docker/modes.ts', 'docker/overlay2.ts',
  'docker/reference-store.ts', 'docker/reference.ts', 'docker/store-choice.ts', 'docker/store.ts',
  'status/boot-times.ts', 'status/state.ts', 'status/summary.ts',
  'system/block-devices.ts', 'system/boot-id.ts', 'system/clock.ts', 'system/codes.ts', 'system/datagram.ts',
  'system/digest.ts', 'system/entry-types.ts', 'system/errors.ts', 'system/files.ts', 'system/libc.ts', 'system/listen-fds.ts', 'system/lock.ts',
  'system/mount.ts', 'system/notify.ts', 'system/one-line.ts', 'system/parse.ts', 'system/plural.ts', 'system/poll.ts', 'system/real-path.ts',
  'system/shape.ts', 'system/superblock.ts', 'system/udev.ts',
];

describe('the way to READY', () => {
  it('loads no package, and of our own modules these', async () => {
    assert.deepEqual([...await loadedBy('commands/run.ts'), ...await loadedBy('commands/direct.ts')], [...toReady, 'commands/direct.ts']);
  });

  it('with a configuration file loads zod besides', async () => {
    assert.deepEqual((await loadedBy('boot/config-schema.ts')).filter((name) => !toReady.includes(name)), ['boot/config-schema.ts', 'zod']);
  });
});
