import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { agent } from '../support/agent.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { ok, unitProperties, until } from '../support/guest.ts';
import { guestDisks } from '../support/guest-disks.ts';
import { dockerImages, preloadedGuest } from '../support/guest-package.ts';
import { chosenSuite } from '../support/guest-root.ts';
import { attach } from '../support/loop-device.ts';
import { bootContainer } from '../support/nspawn.ts';

/** The limits, shortened as a user would shorten them. */
const START_SEC = 3;
const STOP_SEC = 2;
const APPLY_SEC = 4;
const DEVICES_SEC = 1;
const IMAGES = '/var/lib/docker/image/overlay2/imagedb/content/sha256';

describe('an agent that hangs', () => {
  after(cleanUpAll);

  it('delays Docker by its own time limits at most, and by none once it is well again', async (test) => {
    const disk = (await guestDisks())('dpl-a');
    const { device } = await attach(disk.raw);
    const { images } = JSON.parse((await agent(['inspect', '--json', disk.raw])).stdout) as {
      images: readonly { id: string }[];
    };
    // What the image's configuration is written to first. To open a fifo that nobody reads from never ends, like a
    // write to a device that does not answer.
    const fifo = `${IMAGES}/${images[0]?.id.slice('sha256:'.length)}.docker-preloader`;
    const guest = await bootContainer({
      suite: chosenSuite('trixie'),
      devices: [device],
      ...preloadedGuest(
        { deviceTimeoutSec: DEVICES_SEC },
        {
          files: {
            '/etc/systemd/system/docker-preloader.service.d/limits.conf': `[Service]\nTimeoutStartSec=${START_SEC}\nTimeoutStopSec=${STOP_SEC}\nExecStartPre=/bin/sh -c 'test -e /run/is-well || { mkdir -p ${IMAGES} && mkfifo ${fifo}; }'\n`,
            '/etc/systemd/system/docker.service.d/50-docker-preloader.conf': `[Service]\nExecStartPre=-/usr/bin/docker-preloader apply --degraded-ok --timeout ${APPLY_SEC}\n`,
          },
        },
      ),
    });
    await until(guest, 'systemctl is-active docker');
    assert.match(
      await ok(guest, 'journalctl --boot --output=cat --unit=docker-preloader'),
      /start operation timed out/,
    );
    const apply = (await unitProperties(guest, 'docker.service', ['ExecStartPre']))['ExecStartPre'] ?? '';
    assert.match(apply, /docker-preloader apply.* code=killed ; status=14/, 'ended by SIGALRM');

    // By systemd's clock: from the agent's first start to dockerd's, less what a machine that is busy adds to all of
    // it.
    const started = Number(
      (await ok(guest, 'journalctl --boot --output=json _PID=1 UNIT=docker-preloader.service'))
        .split('\n')
        .map((line) => JSON.parse(line) as Readonly<Record<string, string>>)
        .find(({ JOB_TYPE }) => JOB_TYPE === 'start')?.['__MONOTONIC_TIMESTAMP'],
    );
    const dockerd = Number(
      (await unitProperties(guest, 'docker.service', ['ExecMainStartTimestampMonotonic']))[
        'ExecMainStartTimestampMonotonic'
      ],
    );
    const delaySec = (dockerd - started) / 1_000_000;
    test.diagnostic(
      `Docker was delayed by ${delaySec.toFixed(1)} s, with limits of ${START_SEC} + ${STOP_SEC} s for the unit and ${APPLY_SEC} + ${DEVICES_SEC} s for apply`,
    );
    assert.ok(delaySec > START_SEC && delaySec < START_SEC + STOP_SEC + APPLY_SEC + DEVICES_SEC + 20, `${delaySec} s`);
    assert.deepEqual(await dockerImages(guest), []);

    await ok(
      guest,
      `touch /run/is-well && rm ${fifo} && systemctl reset-failed docker-preloader; systemctl restart docker`,
    );
    assert.deepEqual(await dockerImages(guest), [disk.image]);
    await guest.poweroff();
  });
});
