import assert from 'node:assert/strict';
import { chmodSync, cpSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { execa } from 'execa';
import type { Inspection } from '../../agent/verify/inspect-disk.ts';
import { agent } from '../support/agent.ts';
import { cleanUpAll, cleanUpLater } from '../support/cleanup.ts';
import { ensureDebianPackages } from '../support/debian-packages.ts';
import { makeKey } from '../support/signing-key.ts';
import { tempTree } from '../support/temp-tree.ts';
import { savedArchive } from './archive/archives.ts';
import { makeTar } from './tar/make-tar.ts';

interface Built {
  readonly label: string;
  readonly digest: string;
  readonly signedBy: string | null;
  readonly bytes: number;
}

let folder: string;
let key: string;
const at = (name: string): string => path.join(folder, name);

before(async () => {
  await ensureDebianPackages(['e2fsprogs', 'erofs-utils', 'openssh-client'], { install: true });
  folder = (await tempTree('dpl-sign')).path;
  key = makeKey(at('key'));
  writeFileSync(
    at('app.tar'),
    savedArchive([{ tags: ['app:1'], layers: [makeTar([{ name: 'file', content: 'content' }])] }]),
  );
});
after(cleanUpAll);

async function build(disk: string, ...args: readonly string[]): Promise<Built> {
  const { exitCode, stdout, stderr } = await agent([
    'build',
    at('app.tar'),
    '-o',
    at(disk),
    '--json',
    '--quiet',
    ...args,
  ]);
  assert.equal(exitCode, 0, stderr);
  return JSON.parse(stdout) as Built;
}

/** A build that must fail. @returns what it says */
async function refused(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<string> {
  const before = readdirSync(folder).toSorted();
  const { exitCode, stdout, stderr } = await agent(
    ['build', at('app.tar'), '-o', at('none.raw'), '--quiet', ...args],
    env,
  );
  assert.deepEqual([exitCode, stdout], [1, '']);
  assert.match(stderr, /^docker-preloader: [^\n]+\n?$/);
  assert.deepEqual(readdirSync(folder).toSorted(), before);
  return stderr.trim().slice('docker-preloader: '.length);
}

async function inspected(
  disk: string,
  ...args: readonly string[]
): Promise<Inspection & { readonly exitCode: number | undefined }> {
  const { exitCode, stdout, stderr } = await agent(['inspect', at(disk), '--json', ...args]);
  assert.equal(stderr, '');
  return { ...(JSON.parse(stdout) as Inspection), exitCode };
}

const fingerprintOf = async (file: string): Promise<string> =>
  (await execa('ssh-keygen', ['-l', '-f', file])).stdout.split(' ')[1] ?? '';

describe('build --sign', () => {
  it('signs the manifest as ssh-keygen verifies it, and changes neither label nor digest', async () => {
    const plain = await build('plain.raw');
    const signed = await build('signed.raw', '--sign', key);
    assert.deepEqual([signed.label, signed.digest], [plain.label, plain.digest]);
    assert.deepEqual([plain.signedBy, signed.signedBy], [null, await fingerprintOf(key)]);
    for (const name of ['docker-preloader.json', 'docker-preloader.json.sig'])
      await execa('debugfs', ['-R', `dump /${name} ${at(name)}`, at('signed.raw')]);
    writeFileSync(at('allowed'), `release@example ${readFileSync(`${key}.pub`, 'utf8')}`);
    const verified = async (bytes: Buffer): Promise<boolean> => {
      const files = ['-f', at('allowed'), '-s', at('docker-preloader.json.sig')];
      const who = ['-I', 'release@example', '-n', 'docker-preloader'];
      const { exitCode } = await execa('ssh-keygen', ['-Y', 'verify', ...files, ...who], {
        input: bytes,
        reject: false,
      });
      return exitCode === 0;
    };
    const manifest = readFileSync(at('docker-preloader.json'));
    assert.deepEqual(
      [await verified(manifest), await verified(Buffer.concat([manifest, Buffer.from(' ')]))],
      [true, false],
    );
  });

  it('gives the same bytes again, of an erofs and a qcow2 as well, and a dry run tells the same', async () => {
    for (const [name, ...args] of [
      ['a.raw'],
      ['b.raw', '--filesystem', 'erofs'],
      ['c.qcow2', '--blobs', 'tar'],
    ] as const) {
      const first = await build(name, '--sign', key, ...args);
      const bytes = readFileSync(at(name));
      assert.deepEqual(await build(name, '--sign', key, ...args), first);
      assert.ok(bytes.equals(readFileSync(at(name))), name);
      const { output, dryRun, ...told } = (await build(name, '--sign', key, ...args, '--dry-run')) as Built & {
        output: unknown;
        dryRun: unknown;
      };
      assert.deepEqual([output, dryRun, { ...told, output: at(name), dryRun: false }], [at(name), true, first]);
      const { signature, problems } = await inspected(name, '--deep', '--trusted-key', `${key}.pub`);
      assert.deepEqual([signature?.fingerprint, problems], [first.signedBy, []]);
    }
  });

  it('puts nothing of the key on the disk or into what is said', async () => {
    const { all } = await agent(['build', at('app.tar'), '-o', at('signed.raw'), '--sign', key]);
    const secret = readFileSync(key, 'utf8').split('\n').slice(2, -3);
    const bytes = readFileSync(at('signed.raw'));
    assert.ok(secret.length > 1);
    for (const line of secret) assert.ok(!bytes.includes(line) && !all.includes(line));
  });

  it('refuses what is no Ed25519 key before anything is read, in one line', async () => {
    await execa('ssh-keygen', ['-q', '-t', 'rsa', '-N', '', '-f', at('rsa')]);
    await execa('ssh-keygen', ['-q', '-t', 'ecdsa', '-N', '', '-f', at('ecdsa')]);
    const wanted = ': expected an Ed25519 key, as ssh-keygen -t ed25519 makes it, found ';
    for (const [file, found] of [
      ['rsa', 'one of the type RSA'],
      ['ecdsa', 'one of the type ECDSA'],
      ['nowhere', 'no such file'],
      ['app.tar', 'something else'],
      ['.', 'something else'],
    ] as const)
      assert.equal(await refused(['--sign', at(file)]), `${at(file)}${wanted}${found}`);
    writeFileSync(at('empty'), '');
    writeFileSync(at('cut'), readFileSync(key).subarray(0, 200));
    for (const file of ['empty', 'cut'])
      assert.equal(await refused(['--sign', at(file)]), `${at(file)}${wanted}something else`);
  });

  it('says what is wrong with a key that has a passphrase, where nobody can be asked, or that others can read', async () => {
    await execa('ssh-keygen', ['-q', '-t', 'ed25519', '-N', 'a secret', '-f', at('locked')]);
    const alone = { SSH_ASKPASS: '', SSH_ASKPASS_REQUIRE: 'never', DISPLAY: '', SSH_AUTH_SOCK: '' };
    assert.match(
      await refused(['--sign', at('locked')], alone),
      /locked: it could not sign: .*incorrect passphrase.*: where nobody can be asked for a passphrase, name the \.pub file of a key that the ssh-agent has$/,
    );
    cpSync(key, at('open'));
    chmodSync(at('open'), 0o644);
    assert.match(await refused(['--sign', at('open')], alone), /open: it could not sign: .*too open/);
  });

  it('asks for a passphrase as ssh-keygen does', async () => {
    writeFileSync(at('askpass'), '#!/bin/sh\necho a secret\n', { mode: 0o755 });
    const env = { SSH_ASKPASS: at('askpass'), SSH_ASKPASS_REQUIRE: 'force' };
    const { exitCode, all } = await agent(
      ['build', at('app.tar'), '-o', at('asked.raw'), '--quiet', '--sign', at('locked')],
      env,
    );
    assert.equal(exitCode, 0, all);
    assert.equal((await inspected('asked.raw', '--trusted-key', at('locked.pub'))).exitCode, 0);
  });

  it('has the ssh-agent sign, where the .pub file of a key is named', async () => {
    const socket = at('agent.sock');
    const { stdout } = await execa('ssh-agent', ['-s', '-a', socket]);
    const pid = Number(/SSH_AGENT_PID=(\d+)/.exec(stdout)?.[1]);
    const stop = cleanUpLater('ssh-agent', () => void process.kill(pid));
    makeKey(at('held'));
    await execa('ssh-add', ['-q', at('held')], { env: { SSH_AUTH_SOCK: socket } });
    rmSync(at('held'));
    assert.match(await refused(['--sign', at('held.pub')], { SSH_AUTH_SOCK: '' }), /held\.pub: it could not sign: /);
    const args = ['build', at('app.tar'), '-o', at('held.raw'), '--quiet', '--sign', at('held.pub')];
    const { exitCode, all } = await agent(args, { SSH_AUTH_SOCK: socket });
    assert.equal(exitCode, 0, all);
    assert.equal((await inspected('held.raw', '--trusted-key', at('held.pub'))).exitCode, 0);
    await stop();
    rmSync(socket, { force: true });
  });

  it('names the package where ssh-keygen is missing', async () => {
    assert.equal(
      await refused(['--sign', key], { PATH: '/nonexistent' }),
      "expected the program 'ssh-keygen', found none: install the package openssh-client",
    );
  });

  it('is refused with an output that is the key, and with another engine', async () => {
    const before = readFileSync(key);
    const onKey = await agent(['build', at('app.tar'), '-o', key, '--sign', key]);
    assert.equal(onKey.exitCode, 1);
    assert.match(onKey.all, /expected an output that is none of the inputs, found the key of --sign /);
    assert.deepEqual(readFileSync(key), before);
    const other = await agent(['build', at('app.tar'), '-o', at('none.raw'), '--engine', 'docker', '--sign', key]);
    assert.equal(other.exitCode, 2);
    assert.match(other.all, /--sign: expected the built-in engine, found another/);
  });
});

describe('inspect --trusted-key', () => {
  it('wants a signature by any of the keys, and says whose there is', async () => {
    await build('signed.raw', '--sign', key);
    await build('plain.raw');
    makeKey(at('other'));
    const ours = await fingerprintOf(key);
    const of = async (disk: string, ...keys: readonly string[]): Promise<unknown> => {
      const { exitCode, signature, problems } = await inspected(
        disk,
        ...keys.flatMap((one) => ['--trusted-key', `${at(one)}.pub`]),
      );
      return [exitCode, signature?.fingerprint, ...problems];
    };
    assert.deepEqual(await of('signed.raw'), [0, ours]);
    assert.deepEqual(await of('signed.raw', 'other', 'key'), [0, ours]);
    const wanted = 'expected a signature by a key of --trusted-key, found';
    assert.deepEqual(await of('signed.raw', 'other'), [1, ours, `${wanted} one by ${ours}`]);
    assert.deepEqual(await of('plain.raw'), [0, undefined]);
    assert.deepEqual(await of('plain.raw', 'key'), [1, undefined, `${wanted} no signature`]);
    assert.match(
      (await agent(['inspect', at('signed.raw')])).stdout,
      new RegExp(`^signed by ${ours.replaceAll(/[+/]/g, '.')}$`, 'm'),
    );
  });

  it('tells of a signature that is not valid even where none is wanted', async () => {
    cpSync(at('signed.raw'), at('spoilt.raw'));
    writeFileSync(at('signature'), 'no signature');
    await execa('debugfs', ['-w', '-f', '-', at('spoilt.raw')], {
      input: `rm /docker-preloader.json.sig\nwrite ${at('signature')} /docker-preloader.json.sig\n`,
    });
    const { exitCode, signature, problems } = await inspected('spoilt.raw');
    assert.deepEqual(
      [exitCode, signature, problems],
      [
        1,
        null,
        ['docker-preloader.json.sig: expected one signature as ssh-keygen -Y sign writes it, found something else'],
      ],
    );
  });

  it('wants a .pub file, and says so', async () => {
    renameSync(`${at('other')}.pub`, at('renamed'));
    for (const [file, says] of [
      [key, /key: expected the \.pub file of an Ed25519 key: ssh-ed25519 AAAA…, found something else/],
      [at('rsa.pub'), /rsa\.pub: expected the \.pub file of an Ed25519 key/],
      [at('other.pub'), /other\.pub: expected a \.pub file, found no such file/],
      [folder, /expected a regular file, found /],
    ] as const) {
      const { exitCode, all } = await agent(['inspect', at('signed.raw'), '--trusted-key', file]);
      assert.equal(exitCode, 2, all);
      assert.match(all, says);
    }
  });
});
