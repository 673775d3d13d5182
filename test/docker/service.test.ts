import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import {
  environmentFiles,
  parseEnvironment,
  parseEnvironmentFile,
  parseExecStart,
  storeOfService,
} from '../../agent/docker/service.ts';
import { parseShow } from '../../agent/system/systemctl.ts';
import { scratch } from '../support/temp-tree.ts';

describe('docker.service', () => {
  const execStart = (argv: string): string =>
    `{ path=/usr/sbin/dockerd ; argv[]=/usr/sbin/dockerd ${argv} ; ignore_errors=no ; start_time=[n/a] ; stop_time=[n/a] ; pid=0 ; code=(null) ; status=0/0 }`;

  it("'s ExecStart is parsed", () => {
    assert.deepEqual(parseExecStart(execStart('-H fd:// --containerd=/run/containerd/containerd.sock')), [
      '/usr/sbin/dockerd',
      '-H',
      'fd://',
      '--containerd=/run/containerd/containerd.sock',
    ]);
    assert.deepEqual(parseExecStart(''), []);
    assert.deepEqual(parseExecStart('{ path=/bin/true }'), []);
  });

  it("'s environment is parsed, with what is quoted", () => {
    assert.deepEqual(parseEnvironment('A=1 "B=two words" C= D=x=y nonsense =z'), {
      A: '1',
      B: 'two words',
      C: '',
      D: 'x=y',
    });
    assert.deepEqual(parseEnvironment(''), {});
    assert.deepEqual(parseEnvironmentFile('# A=0\n;B=0\nA=1\nOPTS="--data-root /a -s vfs"\nC=\'x y\'\n'), {
      A: '1',
      OPTS: '--data-root /a -s vfs',
      C: 'x y',
    });
  });

  it("'s environment files are all read", () => {
    const [properties] = parseShow(
      'LoadState=loaded\nEnvironmentFiles=/etc/default/docker (ignore_errors=yes)\nEnvironmentFiles=/etc/my docker (ignore_errors=no)\n',
    );
    assert.deepEqual(environmentFiles(properties?.get('EnvironmentFiles') ?? []), [
      '/etc/default/docker',
      '/etc/my docker',
    ]);
    assert.deepEqual(environmentFiles(['', 'nonsense']), []);
  });

  for (const { argv, environment = {}, file, expected } of [
    { argv: '-H fd://', expected: { hosts: ['fd://'] } },
    { argv: '--data-root /a', expected: { dataRoot: '/a' } },
    { argv: '--data-root=/a/', expected: { dataRoot: '/a' } },
    { argv: '-g /a', expected: { dataRoot: '/a' } },
    { argv: '--graph=/a', expected: { dataRoot: '/a' } },
    { argv: '--data-root=/a --data-root=/b', expected: { dataRoot: '/b' } },
    { argv: '--data-root=', expected: {} },
    {
      argv: '$DOCKER_OPTS',
      environment: { DOCKER_OPTS: '--data-root /a -s vfs' },
      expected: { dataRoot: '/a', storageDriver: 'vfs' },
    },
    { argv: '$DOCKER_OPTS', environment: { DOCKER_OPTS: '--data-root="/a"' }, expected: { dataRoot: '/a' } },
    { argv: '$DOCKER_OPTS', expected: {} },
    { argv: '--data-root=${ROOT}/docker', environment: { ROOT: '/mnt' }, expected: { dataRoot: '/mnt/docker' } },
    { argv: '-s btrfs', expected: { storageDriver: 'btrfs' } },
    { argv: '--storage-driver=zfs', file: '{"storage-driver":"overlay2"}', expected: { storageDriver: 'zfs' } },
    { argv: '--userns-remap=default', expected: { usernsRemap: 'default' } },
    {
      argv: '-H fd:// --host=unix:///d.sock --containerd=/run/containerd/containerd.sock',
      expected: { hosts: ['fd://', 'unix:///d.sock'] },
    },
    { argv: '', file: '{"hosts":["tcp://0.0.0.0:2375"]}', expected: { hosts: ['tcp://0.0.0.0:2375'] } },
    {
      argv: '',
      file: '{"data-root":"/of/file","userns-remap":"u"}',
      expected: { dataRoot: '/of/file', usernsRemap: 'u' },
    },
    { argv: '', environment: { DOCKER_DRIVER: 'vfs' }, expected: { storageDriver: 'vfs' } },
    {
      argv: '',
      environment: { DOCKER_DRIVER: 'vfs' },
      file: '{"storage-driver":"overlay2"}',
      expected: { storageDriver: 'overlay2' },
    },
  ]) {
    it(`with '${argv}'${file === undefined ? '' : ` and ${file}`} ${JSON.stringify(environment)}`, async (t) => {
      const config = path.join(scratch(t), 'daemon.json');
      if (file !== undefined) writeFileSync(config, file);
      assert.deepEqual(await storeOfService(parseExecStart(execStart(argv)), environment, config), {
        dataRoot: '/var/lib/docker',
        storageDriver: undefined,
        usernsRemap: undefined,
        hosts: [],
        ...expected,
      });
    });
  }

  it('names another configuration file', async (t) => {
    const other = path.join(scratch(t), 'other.json');
    writeFileSync(other, '{"data-root":"/other"}');
    assert.equal(
      (await storeOfService(['dockerd', '--config-file', other], {}, '/nonexistent/daemon.json')).dataRoot,
      '/other',
    );
  });
});
