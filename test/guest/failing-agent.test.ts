import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { cleanUpAll } from '../support/cleanup.ts';
import { fails, ok, unitProperties, until } from '../support/guest.ts';
import { guestDisks } from '../support/guest-disks.ts';
import { dockerImages, nameInContainer, preloadedGuest } from '../support/guest-package.ts';
import { chosenSuite } from '../support/guest-root.ts';
import { attach } from '../support/loop-device.ts';
import { bootContainer } from '../support/nspawn.ts';

/** A client that is not ours, of what a Debian guest has: it speaks HTTP over the unix socket. */
const askStatus = `use IO::Socket::UNIX;
my $socket = IO::Socket::UNIX->new(Peer => '/run/docker-preloader/status.sock') or die "connect: $!";
print $socket "GET /v1/status HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n";
print while <$socket>;
`;

describe('an agent that fails', () => {
  after(cleanUpAll);

  it('answers clients that waited on its socket with the error, is not restarted in a loop, and does not hold Docker up', async () => {
    const disk = (await guestDisks())('dpl-a');
    const { device } = await attach(disk.raw);
    const guest = await bootContainer({
      suite: chosenSuite('trixie'),
      devices: [device],
      ...preloadedGuest(
        {},
        {
          files: {
            '/etc/docker-preloader/config.json': '{ "lables": ["dpl-*"] }',
            '/usr/local/bin/ask-status': askStatus,
            // Four clients that ask as soon as the socket is there, before the agent has a chance to answer.
            '/etc/systemd/system/client@.service': `[Unit]
DefaultDependencies=no
After=docker-preloader.socket
[Service]
Type=exec
ExecStart=sh -c 'perl /usr/local/bin/ask-status > /run/client-%i.answer; touch /run/client-%i.done'
`,
          },
          setup: 'for n in 1 2 3 4; do systemctl add-wants docker-preloader.socket client@$n.service; done',
        },
      ),
    });
    await until(guest, 'ls /run/client-1.done /run/client-2.done /run/client-3.done /run/client-4.done');
    for (const client of [1, 2, 3, 4]) {
      const answer = await ok(guest, `cat /run/client-${client}.answer`);
      assert.match(
        answer,
        /^HTTP\/1\.1 200 [^]*"state":"failed"[^]*lables/,
        'each client must learn which key is wrong',
      );
    }
    // More clients later: they start nothing again.
    for (let count = 0; count < 6; count++) assert.match(await ok(guest, 'perl /usr/local/bin/ask-status'), /lables/);
    assert.match(await fails(guest, 'docker-preloader status --json'), /lables/);
    const preloader = await unitProperties(guest, 'docker-preloader.service', ['NRestarts', 'ActiveState', 'Result']);
    assert.equal(preloader['NRestarts'], '0');
    assert.notEqual(preloader['Result'], 'start-limit-hit');
    const starts = await ok(
      guest,
      'journalctl --boot --output=cat _PID=1 UNIT=docker-preloader.service | grep -c "^Starting " ; true',
    );
    assert.equal(starts, '1', await ok(guest, 'journalctl --boot --unit=docker-preloader.service'));
    assert.equal(await ok(guest, 'systemctl is-active docker docker-preloader.socket'), 'active\nactive');
    assert.deepEqual(await dockerImages(guest), []);

    // With the configuration put right, the next start of Docker has the images.
    await ok(guest, 'echo "{}" > /etc/docker-preloader/config.json && systemctl restart docker-preloader docker');
    assert.equal(await nameInContainer(guest, disk.image), disk.image);
    await guest.poweroff();
  });
});
