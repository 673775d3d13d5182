import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { after, describe, it } from 'node:test';
import { cleanUpAll } from '../support/cleanup.ts';
import type { DebianSuite } from '../support/debian-packages.ts';
import { ok } from '../support/guest.ts';
import { guestDisks } from '../support/guest-disks.ts';
import { dockerImages, preloadedGuest } from '../support/guest-package.ts';
import { chosenSuite } from '../support/guest-root.ts';
import { attach } from '../support/loop-device.ts';
import { bootContainer } from '../support/nspawn.ts';

/** One line of `systemd-analyze security`. */
interface Assessment {
  readonly set: boolean | null;
  readonly name: string;
  readonly exposure: string | null;
}

/** What systemd calls medium begins at 5. */
const MAX_EXPOSURE = { 'docker-preloader.service': 4.1, 'docker-preloader-containerd.service': 4.2 } as const;

const names = ['docker-preloader.service', 'docker-preloader-containerd.service'] as const;

describe('the hardening of the units', () => {
  after(cleanUpAll);

  for (const suite of new Set<DebianSuite>(['bookworm', chosenSuite('trixie')])) {
    it(`is as far as mounting allows on Debian ${suite}, and gives the reason for each directive that is left out`, async (test) => {
      const disk = (await guestDisks())('dpl-a');
      const guest = await bootContainer({ suite, devices: [(await attach(disk.raw)).device], ...preloadedGuest() });
      const systemd = await ok(guest, 'systemd-analyze --version | head -n 1');
      for (const id of names) {
        const exposed = (
          JSON.parse(await ok(guest, `systemd-analyze security --json=short ${id}`)) as Assessment[]
        ).filter(({ exposure }) => exposure !== null);
        const overall = Number(
          /exposure level for \S+: ([\d.]+)/.exec(await ok(guest, `systemd-analyze security --no-pager ${id}`))?.[1],
        );
        test.diagnostic(`${systemd}: ${id}: exposure ${overall}, ${exposed.length} directives left out`);
        const unit = readFileSync(path.resolve(import.meta.dirname, '../../units', id), 'utf8');
        assert.deepEqual(
          exposed.filter(({ name }) => !hasReason(name, unit)).map(({ name }) => name),
          [],
          `${id}: without a reason in the unit`,
        );
        assert.ok(exposed.length > 20 && overall <= MAX_EXPOSURE[id], `${id}: ${overall}`);
      }

      // All of that leaves it working, in PID 1's mount namespace.
      assert.deepEqual(await dockerImages(guest), [disk.image]);
      assert.equal(
        await ok(guest, 'readlink /proc/$(systemctl show --property=MainPID --value docker-preloader)/ns/mnt'),
        await ok(guest, 'readlink /proc/1/ns/mnt'),
      );
      assert.equal(await ok(guest, 'journalctl --boot --output=cat --unit=docker-preloader --priority=warning'), '');
      await guest.poweroff();
    });
  }
});

/**
 * Whether the unit's comments name a directive, or the capabilities, families or groups of system calls that it keeps.
 */
function hasReason(name: string, unit: string): boolean {
  const comments = unit
    .split('\n')
    .filter((line) => line.startsWith('#'))
    .join('\n');
  const [directive = '', kept] = name.split('~');
  if (kept === undefined) return [...directive.matchAll(/\w+=/g)].every(([part]) => comments.includes(part));
  if (!kept.startsWith('CAP_')) return comments.includes(kept);
  const capabilities = /^CapabilityBoundingSet=(.*)$/m.exec(unit)?.[1]?.split(' ') ?? [];
  const group = new RegExp(`^${kept.replaceAll('*', '.*')}$`);
  const meant = capabilities.filter((capability) => group.test(capability));
  return meant.length > 0 && meant.every((capability) => comments.includes(capability));
}
