import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { packagedVersion } from '../../agent/docker/packaged-version.ts';
import { scratch } from '../support/temp-tree.ts';

const entry = (name: string, version: string, status = 'install ok installed'): string =>
  `Package: ${name}\nStatus: ${status}\nPriority: optional\nVersion: ${version}\nDescription: x\n Package: docker.io\n\n`;
const other = entry('dockerd-like', '9.9');
const cases: Readonly<Record<string, readonly [files: Readonly<Record<string, string>>, version: string | undefined]>> =
  {
    "Docker's own": [{ status: other + entry('docker-ce', '5:29.0.1-1~debian.13~trixie') }, '29.0.1'],
    "Debian's": [{ status: entry('docker.io', '26.1.5+dfsg1-9+b4') + other }, '26.1.5'],
    'with a tilde': [{ status: entry('docker.io', '28.5.2~rc1-1') }, '28.5.2'],
    'removed, its configuration left': [
      { status: entry('docker.io', '26.1.5', 'deinstall ok config-files') },
      undefined,
    ],
    'two that have it': [{ status: entry('docker.io', '26.1.5-1') + entry('docker-ce', '5:29.0.1-1') }, undefined],
    'one that is no package': [{ status: other }, undefined],
    'no database': [{}, undefined],
    'a drop-in that starts another program': [
      {
        status: entry('docker.io', '26.1.5-1'),
        'etc/systemd/system/docker.service.d/x.conf': '[Service]\nExecStart=\nExecStart=/opt/dockerd\n',
      },
      undefined,
    ],
    'a drop-in that does not': [
      {
        status: entry('docker.io', '26.1.5-1'),
        'etc/systemd/system/docker.service.d/x.conf': '[Service]\nExecStartPre=/bin/true\n',
      },
      '26.1.5',
    ],
    "the administrator's own unit": [
      {
        status: entry('docker.io', '26.1.5-1'),
        'etc/systemd/system/docker.service': '[Service]\nExecStart=/opt/dockerd\n',
      },
      undefined,
    ],
  };

describe('the version of dockerd that the package database has', () => {
  for (const [is, [files, version]] of Object.entries(cases))
    it(is, (t) => {
      const root = scratch(t);
      for (const [file, content] of Object.entries({ ...files, 'usr/bin/dockerd': '' })) {
        const place = path.join(root, file === 'status' ? 'var/lib/dpkg/status' : file);
        mkdirSync(path.dirname(place), { recursive: true });
        writeFileSync(place, content);
      }
      assert.equal(packagedVersion(root), version);
    });

  it('is found wherever in a large database its entry is', (t) => {
    const root = scratch(t);
    for (const folder of ['usr/bin', 'var/lib/dpkg']) mkdirSync(path.join(root, folder), { recursive: true });
    writeFileSync(path.join(root, 'usr/bin/dockerd'), '');
    const before = other.repeat(Math.floor(65_300 / other.length));
    const found = [...Array(400).keys()].map((more) => {
      const text = `${before}Package: x\nDescription: ${'y'.repeat(more)}\n\n${entry('docker.io', `26.1.${more}-1`)}${before}`;
      writeFileSync(path.join(root, 'var/lib/dpkg/status'), text);
      return packagedVersion(root);
    });
    assert.deepEqual(
      found,
      found.map((_, more) => `26.1.${more}`),
    );
  });

  it('counts where dockerd is in /usr/sbin, as Debian has it', (t) => {
    const root = scratch(t);
    for (const [file, content] of [
      ['usr/sbin/dockerd', ''],
      ['var/lib/dpkg/status', entry('docker.io', '26.1.5-1')],
    ] as const) {
      mkdirSync(path.join(root, path.dirname(file)), { recursive: true });
      writeFileSync(path.join(root, file), content);
    }
    assert.equal(packagedVersion(root), '26.1.5');
  });

  it('is of no use where no dockerd is there, or the unit is masked', (t) => {
    const root = scratch(t);
    mkdirSync(path.join(root, 'var/lib/dpkg'), { recursive: true });
    writeFileSync(path.join(root, 'var/lib/dpkg/status'), entry('docker.io', '26.1.5-1'));
    assert.equal(packagedVersion(root), undefined);
    mkdirSync(path.join(root, 'usr/bin'), { recursive: true });
    writeFileSync(path.join(root, 'usr/bin/dockerd'), '');
    assert.equal(packagedVersion(root), '26.1.5');
    mkdirSync(path.join(root, 'etc/systemd/system'), { recursive: true });
    symlinkSync('/dev/null', path.join(root, 'etc/systemd/system/docker.service'));
    assert.equal(packagedVersion(root), undefined);
  });
});
