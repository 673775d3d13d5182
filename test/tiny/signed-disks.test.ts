import assert from 'node:assert/strict';
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { execa } from 'execa';
import type { Manifest } from '../../agent/disk/manifest.ts';
import type { StatusDocument } from '../../agent/status/schema.ts';
import { ociLayout, tarOf } from '../builder/archive/archives.ts';
import { agent } from '../support/agent.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { ensureDebianPackages } from '../support/debian-packages.ts';
import { makeDisk } from '../support/disk.ts';
import { layerTar } from '../support/docker-archive.ts';
import { makeKey, publicLine, signFile } from '../support/signing-key.ts';
import { differences } from '../support/tree.ts';
import { TwoExecutables, type Outcome } from './two-executables.ts';

const label = `s${process.pid.toString(36)}`;

let two: TwoExecutables;
/** Files of keys, and of two disks that the first has signed. */
let key: string;
let other: string;
let signed: string;
let another: string;

before(async () => {
  await ensureDebianPackages(['e2fsprogs', 'openssh-client'], { install: true });
  two = await TwoExecutables.in('dpl-signed', [{ layers: ["the user's"], references: ['mine:1'] }]);
  key = makeKey(two.at('key'));
  other = makeKey(two.at('other'));
  signed = await diskOf('signed');
  another = await diskOf('another');
});
after(() => cleanUpAll());

/** An image of two layers with all that a registry says of it, and one that was built from it. */
async function diskOf(name: string): Promise<string> {
  const layer = (content: string): Promise<Uint8Array> => layerTar([{ name: content, content }]);
  const base = [await layer('base'), await layer(name)];
  const archive = tarOf(
    ociLayout(
      [
        { tags: ['docker.io/library/app:1'], layers: base },
        { tags: ['docker.io/library/app:2'], layers: [...base, await layer('top')] },
      ],
      'gzip',
    ),
  );
  writeFileSync(
    two.at('list.json'),
    JSON.stringify({
      formatVersion: '1.0',
      layers: [{ chainId: `sha256:${'0'.repeat(64)}`, files: [] }],
    }),
  );
  return makeDisk(two.at(name), archive, '--label', label, '--sign', key, '--read-ahead', two.at('list.json'));
}

const trust = (...keys: readonly string[]): object => ({ trustedKeys: keys.map(publicLine) });

/** A copy of a disk on which files are others. Undefined: there is none. */
async function changed(disk: string, files: Readonly<Record<string, Uint8Array | undefined>>): Promise<string> {
  const copy = two.at('copy');
  cpSync(disk, copy);
  const commands = Object.entries(files).flatMap(([file, bytes], index) => {
    if (bytes !== undefined) writeFileSync(two.at(`content-${index}`), bytes);
    return [`rm /${file}`, ...(bytes === undefined ? [] : [`write ${two.at(`content-${index}`)} /${file}`])];
  });
  await execa('debugfs', ['-w', '-f', '-', copy], { input: commands.map((line) => `${line}\n`).join('') });
  return copy;
}

async function fileOn(disk: string, file: string): Promise<Buffer> {
  await execa('debugfs', ['-R', `dump /${file} ${two.at('dumped')}`, disk]);
  return readFileSync(two.at('dumped'));
}

/** What both executables make of a disk, which is the same. */
async function runWith(disk: string, more: object): Promise<Outcome> {
  two.writeConfig([label], more);
  const [outcome] = await two.withDisks([disk], () => two.agree([() => undefined]));
  return outcome ?? assert.fail();
}

const disksOf = ({ status }: Outcome): readonly (readonly [state: string, code: string | undefined])[] =>
  (status as StatusDocument).disks.map(({ state, error }) => [state, error?.code]);

/** What a run leaves that has begun to copy. */
const BEGUN = /^(?:docker-preloader|docker-preloader\/lock|image\/overlay2\/layerdb\/tmp): expected nothing, found /;

/** With this disk the store is as without any. */
function assertLeftOut(outcome: Outcome, code: string, without: Outcome): void {
  assert.deepEqual(disksOf(outcome), [['refused', code]]);
  assert.deepEqual(
    differences(without.store, outcome.store).filter((line) => !BEGUN.test(line)),
    [],
  );
}

describe('a guest with trustedKeys, on both runtimes', () => {
  let right: Outcome;
  let without: Outcome;

  before(async () => {
    right = await runWith(await changed(signed, {}), trust(other, key));
    // Signed by a key that is not known here.
    without = await runWith(await changed(signed, {}), trust(other));
  });

  it('takes a disk that one of them has signed, and says who', () => {
    assert.equal(right.exitCode, 0);
    const [disk] = (right.status as StatusDocument).disks;
    assert.deepEqual([disk?.state, disk?.images], ['in-use', 2]);
    assert.match(disk?.signedBy ?? '', /^SHA256:[A-Za-z0-9+/]{43}$/);
    assert.ok(differences(without.store, right.store).length > 10);
  });

  it('leaves out a disk that only another key has signed', () => {
    assert.equal(without.exitCode, 3);
    assertLeftOut(without, 'SIGNATURE_UNTRUSTED', without);
  });

  it('leaves out a disk without a signature, and one without a manifest', async () => {
    for (const files of ['docker-preloader.json.sig', 'docker-preloader.json']) {
      const outcome = await runWith(await changed(signed, { [files]: undefined }), trust(key));
      assert.equal(outcome.exitCode, 3);
      assertLeftOut(outcome, 'DISK_UNSIGNED', without);
    }
  });

  it('leaves out a disk with the signature of another one, with the manifest of another one, and takes one with both', async () => {
    const signature = await fileOn(another, 'docker-preloader.json.sig');
    const manifest = await fileOn(another, 'docker-preloader.json');
    for (const files of [{ 'docker-preloader.json.sig': signature }, { 'docker-preloader.json': manifest }])
      assertLeftOut(await runWith(await changed(signed, files), trust(key)), 'SIGNATURE_INVALID', without);
    // Then what it says is not what there is.
    const both = { 'docker-preloader.json.sig': signature, 'docker-preloader.json': manifest };
    assertLeftOut(await runWith(await changed(signed, both), trust(key)), 'DISK_CONTENT', without);
  });

  it('leaves out a disk whose signature is none, or was made for something else', async () => {
    const manifest = two.at('docker-preloader.json');
    writeFileSync(manifest, await fileOn(signed, 'docker-preloader.json'));
    const made = (options: Parameters<typeof signFile>[2]): Buffer => {
      rmSync(`${manifest}.sig`, { force: true });
      signFile(manifest, key, options);
      return readFileSync(`${manifest}.sig`);
    };
    const valid = made({});
    const hostile = {
      empty: Buffer.alloc(0),
      huge: Buffer.alloc(8 * 1024 * 1024, 'A'),
      cut: valid.subarray(0, 200),
      two: Buffer.concat([valid, valid]),
      more: Buffer.concat([valid, Buffer.from('more\n')]),
      binary: Buffer.from(Array.from({ length: 300 }, (_, index) => index % 256)),
      elsewhere: made({ namespace: 'file' }),
      hash: made({ hash: 'sha512' }),
    };
    for (const [name, bytes] of Object.entries(hostile)) {
      const outcome = await runWith(await changed(signed, { 'docker-preloader.json.sig': bytes }), trust(key));
      assert.deepEqual(disksOf(outcome), [['refused', 'SIGNATURE_INVALID']], name);
      assertLeftOut(outcome, 'SIGNATURE_INVALID', without);
    }
  });

  it('uses the one of two devices with one label that is signed', async () => {
    const unsigned = two.at('unsigned');
    for (const order of [0, 1]) {
      const copy = await changed(signed, {});
      cpSync(copy, unsigned);
      await execa('debugfs', ['-w', '-R', 'rm /docker-preloader.json.sig', unsigned]);
      two.writeConfig([label], trust(key));
      const files = order === 0 ? [copy, unsigned] : [unsigned, copy];
      const [outcome] = await two.withDisks(files, () => two.agree([() => undefined]));
      assert.ok(outcome);
      assert.deepEqual(new Set(disksOf(outcome).map(([state]) => state)), new Set(['in-use', 'refused']));
      assert.match(outcome.said[1], /LABEL_DUPLICATE|which a trusted key has signed, is used/);
      assert.deepEqual(differences(right.store, outcome.store), []);
    }
  });

  it('takes the images out again where the disk that comes under the label is not signed', async () => {
    const copy = await changed(signed, {});
    const here = (): void => two.writeConfig([label], trust(key));
    const strict = (): void => two.writeConfig([label], trust(other));
    const outcomes = await two.withDisks([copy], () => two.agree([here, strict, here]));
    assert.deepEqual(outcomes.map(disksOf), [
      [['in-use', undefined]],
      [['refused', 'SIGNATURE_UNTRUSTED']],
      [['in-use', undefined]],
    ]);
  });

  it('that is required fails where it is not signed', async () => {
    const copy = await changed(signed, { 'docker-preloader.json.sig': undefined });
    const outcome = await runWith(copy, { ...trust(key), required: [label] });
    assert.equal(outcome.exitCode, 1);
    assert.deepEqual(
      (outcome.status as StatusDocument).findings.map(({ code }) => code),
      ['DISK_UNSIGNED', 'REQUIRED_MISSING'],
    );
  });

  it('takes an older disk, too, which it does not where the digest of the newer one is pinned', async () => {
    const newer = JSON.parse((await agent(['inspect', '--json', another])).stdout) as { manifest: { digest: string } };
    const played = await runWith(await changed(signed, {}), trust(key));
    assert.deepEqual(disksOf(played), [['in-use', undefined]]);
    const pinned = { ...trust(key), required: [`${label}@${newer.manifest.digest}`] };
    assertLeftOut(await runWith(await changed(signed, {}), pinned), 'DISK_CONTENT', without);
  });

  it('holds each file of the metadata to what was signed: one that is another costs the disk, or is not read at all', async (t) => {
    const manifest = JSON.parse(String(await fileOn(signed, 'docker-preloader.json'))) as Manifest;
    const files = Object.keys(manifest.metadata);
    assert.ok(files.length > 30, files.join(' '));
    const notRead: string[] = [];
    for (const file of files) {
      const bytes = Buffer.concat([await fileOn(signed, file), Buffer.from(' ')]);
      const copy = await changed(signed, { [file]: bytes });
      const { exitCode, all } = await agent(['inspect', copy, '--trusted-key', `${key}.pub`]);
      assert.equal(exitCode, 1);
      assert.ok(
        all.includes(`${file}: expected content with digest ${manifest.metadata[file] ?? ''}`),
        `${file}: ${all}`,
      );
      const outcome = await runWith(copy, trust(key));
      const [[state] = ['none']] = disksOf(outcome);
      if (state === 'refused') assertLeftOut(outcome, 'DISK_CONTENT', without);
      else {
        assert.deepEqual([state, differences(right.store, outcome.store)], ['in-use', []], file);
        notRead.push(file);
      }
    }
    const kinds = new Set(notRead.map((file) => file.replaceAll(/[0-9a-f]{64}/g, '*')));
    t.diagnostic(`${files.length} files, not read before READY: ${[...kinds].join(' ')}`);
    // The manifest itself has what these say.
    assert.deepEqual([...kinds].toSorted(), [
      'docker-preloader-read-ahead.json',
      'image/overlay2/distribution/diffid-by-digest/sha256/*',
      'image/overlay2/layerdb/sha256/*/cache-id',
      'image/overlay2/layerdb/sha256/*/diff',
      'image/overlay2/layerdb/sha256/*/parent',
      'image/overlay2/layerdb/sha256/*/size',
      'manifests/sha256/*',
      'overlay2/*/committed',
      'overlay2/*/link',
      'overlay2/*/lower',
    ]);
  });

  it('holds each file of the metadata to be there: one that is missing costs the disk, or is not read at all', async () => {
    const manifest = JSON.parse(String(await fileOn(signed, 'docker-preloader.json'))) as Manifest;
    for (const file of Object.keys(manifest.metadata)) {
      const outcome = await runWith(await changed(signed, { [file]: undefined }), trust(key));
      const [[state] = ['none']] = disksOf(outcome);
      if (state === 'refused') assertLeftOut(outcome, 'DISK_CONTENT', without);
      else assert.deepEqual([state, differences(right.store, outcome.store)], ['in-use', []], file);
    }
  });
});

describe('trustedKeys that are none', () => {
  for (const [what, keys] of [
    ['an empty list', []],
    ['a text', ['no key']],
    ['a key of another type', ['ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQ']],
    ['a key that is cut off', ['ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI']],
    ['a file', ['/root/.ssh/id_ed25519.pub']],
  ] as const)
    it(`take no disk: ${what}`, async () => {
      const copy = await changed(signed, {});
      two.writeConfig([label], { trustedKeys: [...keys] });
      await two.withDisks([copy], async () => {
        rmSync(two.at('data'), { recursive: true, force: true });
        const { exitCode, all } = await agent(['apply', '--config', two.at('config.json')]);
        assert.equal(exitCode, 2, all);
        assert.match(
          all,
          /`trustedKeys(?:\.0)?`: expected (?:at least one key|an Ed25519 key as in a \.pub file of ssh-keygen: ssh-ed25519 AAAA…), found /,
        );
        assert.throws(() => readFileSync(two.at('data/image/overlay2/repositories.json')), { code: 'ENOENT' });
      });
    });
});
