import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { defaultConfig } from '../../agent/config/config.ts';
import { emptyLedger, ledgerFolder, writeLedger } from '../../agent/overlay2/store/ledger.ts';
import { readAhead } from '../../agent/daemon/read-ahead.ts';
import { syncStore } from '../../agent/overlay2/sync-store.ts';
import { compareWithService } from '../../agent/daemon/docker-service.ts';
import { followStore } from '../../agent/daemon/follow-store.ts';
import { Heard } from '../../agent/daemon/heard.ts';
import { restorePruned } from '../../agent/daemon/restore-pruned.ts';
import { READ_AHEAD_NAME } from '../../agent/disk/read-ahead-list.ts';
import { FolderReader } from '../../agent/disk/folder-reader.ts';
import { readDisk } from '../../agent/disk/read-disk.ts';
import { logEvents, type JournalEvent } from '../../agent/status/journal-entries.ts';
import { publish } from '../../agent/status/publish.ts';
import type { StatusDocument } from '../../agent/status/schema.ts';
import { log } from '../../agent/system/journal.ts';
import { loadImages } from '../boot/fake-store.ts';
import { foundDisk } from '../status/a-run.ts';

/**
 * A process of its own, for what goes to the journal: sends the events that a file lists, then does what fails after
 * READY. argv: the file, a folder to work in.
 */
const [file = '', folder = ''] = process.argv.slice(2);
const { events, status } = JSON.parse(readFileSync(file, 'utf8')) as { events: JournalEvent[]; status: StatusDocument };
logEvents(events);

writeFileSync(path.join(folder, 'run'), 'a file where a folder belongs');
publish({ ...defaultConfig(), statusSocket: path.join(folder, 'run/s.sock') }, status, 'run');

const dataRoot = path.join(folder, 'docker');
mkdirSync(path.join(ledgerFolder(dataRoot), 'lock'), { recursive: true });
writeLedger(dataRoot, emptyLedger);
await syncStore(dataRoot);

// What systemctl says when systemd does not answer.
writeFileSync(path.join(folder, 'systemctl'), '#!/bin/sh\necho "Failed to connect to bus" >&2\nexit 1\n', {
  mode: 0o755,
});
process.env['PATH'] = `${folder}:${process.env['PATH'] ?? ''}`;
process.env['NOTIFY_SOCKET'] = '/run/systemd/notify';
await compareWithService(defaultConfig(), dataRoot);

for (const list of ['{"formatVersion":"1.0","layers":[]}', '{']) {
  const disk = path.join(folder, 'disk');
  loadImages(disk, [{ layers: ['base'], references: ['app:1'] }]);
  writeFileSync(path.join(disk, READ_AHEAD_NAME), list);
  await readAhead(
    [
      {
        mounted: { ...foundDisk('dpl-a'), path: disk, adopted: false },
        content: readDisk('dpl-a', new FolderReader(disk)),
      },
    ],
    new Map(),
    1,
  );
}

// A name that no call of the system takes.
const followed = followStore('/\0', () => Promise.resolve());
followed.end();
await followed.over;

// Its lock is a folder. What takes a dockerd is said as it would be.
const pruned = { names: new Map(), images: new Set<never>(), taken: new Set<never>() };
log('RESTORED', '1 image that a prune took is back: app:1', { IMAGES: 1 });
await restorePruned(pruned, { config: defaultConfig(), dataRoot, docker: undefined as never, heard: new Heard() });
log('PRUNES_NOT_FOLLOWED', 'what a prune takes comes back when Docker next starts, and not before: no socket');
