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
  const { stdout } = await execa(
    process.execPath,
    [
      '--disable-warning=ExperimentalWarning',
      '--import',
      `data:text/javascript,${encodeURIComponent(hooks)}`,
      '--input-type=module',
      '--eval',
      `await import(${JSON.stringify(path.join(root, 'agent', file))})`,
    ],
    { cwd: root },
  );
  const names = stdout
    .split('\n')
    .map(
      (url) =>
        /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1] ?? url.slice(url.indexOf('/agent/') + '/agent/'.length),
    );
  return [...new Set(names)].toSorted();
}

/**
 * Each costs every boot. What is needed only after READY, or only with a configuration file, is imported when it is
 * needed.
 */
const toReady = [
  ['boot', 'choose-duplicate discover fill-store image-store load-disk missing-disks mount-disks mount-place preload'],
  ['boot', 'present-mounts timings wait which-stores with-containerd'],
  ['commands', 'run'],
  ['config', 'config keys kind label read-config required trusted-key'],
  ['disk', 'disk-fault folder-reader limits manifest read-disk read-tar-split superblock'],
  ['docker', 'daemon-config ids image-config instance layer-db layer-folders reference-store reference'],
  ['merge', 'merge-references offer'],
  ['messages', 'codes finding'],
  ['overlay2/apply', 'apply-steps layer-records modes'],
  ['overlay2', 'check-result overlay2-store'],
  ['overlay2/plan', 'content-after distribution-steps image-steps kept-findings layer-steps leaving-images'],
  ['overlay2/plan', 'leaving-layers ledger-steps linked-layers make-plan pin-steps plan-with-room removal-steps'],
  ['overlay2/plan', 'restored room wanted-images whose'],
  ['overlay2', 'store-choice store-lock'],
  ['overlay2/store', 'copy-tar-split ledger store stored-layers stored-mounts'],
  ['status', 'boot-times pending state summary'],
  ['system', 'block-devices boot-id clock datagram digest entry-types environment errors libc listen-fds lock'],
  ['system', 'mount notify poll read-files real-path start-writing udev write-files'],
  [
    'text',
    'is-record more-values one-line parse-json parse-untrusted plain-path plural sha256-digest shape strict-json',
  ],
].flatMap(([folder = '', names = '']) => names.split(' ').map((name) => `${folder}/${name}.ts`));

describe('the way to READY', () => {
  it('loads no package, and of our own modules these', async () => {
    assert.deepEqual(
      [...(await loadedBy('commands/run.ts')), ...(await loadedBy('commands/direct.ts'))],
      [...toReady, 'commands/direct.ts'],
    );
  });

  it('with a configuration file and a daemon.json loads what parses them besides, and no package', async () => {
    for (const file of ['config/parse-config.ts', 'docker/daemon-json.ts'])
      assert.deepEqual(
        (await loadedBy(file)).filter((name) => !toReady.includes(name)),
        [file, 'text/json-members.ts'],
      );
  });

  it('with trustedKeys loads what checks a signature besides, and no package', async () => {
    assert.deepEqual(
      (await loadedBy('disk/signed-disk.ts')).filter((name) => !toReady.includes(name)),
      [
        'disk/manifest-signer.ts',
        'disk/pinned-reader.ts',
        'disk/signed-disk.ts',
        'disk/ssh-signature.ts',
        'system/ed25519.ts',
        'system/signed-by.ts',
        'text/base64.ts',
      ],
    );
  });
});
