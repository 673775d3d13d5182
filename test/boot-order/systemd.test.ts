import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DOCKER } from '../../agent/boot-order/boot-document.ts';
import { parseJournal } from '../../agent/boot-order/read-journal.ts';
import { mountUnit } from '../../agent/boot-order/mount-unit.ts';
import { toUnitFacts, usecOf } from '../../agent/boot-order/systemd.ts';
import { parseShow } from '../../agent/system/systemctl.ts';

describe('what comes from systemd', () => {
  it('is parsed, whatever is not set', () => {
    const [first, second] = parseShow(`Id=docker.service
InactiveExitTimestampMonotonic=12
ActiveEnterTimestampMonotonic=18446744073709551615
After=a.service b.service
PrivateTmp=no
ProtectSystem=strict
ExecStartPre={ path=/bin/a ; argv[]=/bin/a x ; ignore_errors=yes ; start_time=[n/a] }
ExecStartPre={ path=/bin/b ; argv[]=/bin/b ; ignore_errors=no ; start_time=[n/a] }

Id=other.service
`);
    assert.ok(first !== undefined && second !== undefined);
    const facts = toUnitFacts(first);
    assert.deepEqual(
      [facts.id, facts.inactiveExitUsec, facts.activeEnterUsec, facts.after, facts.namespaceDirectives],
      ['docker.service', 12, 0, ['a.service', 'b.service'], ['ProtectSystem=strict']],
    );
    assert.deepEqual(facts.execStartPre, [
      { argv: '/bin/a x', ignoreErrors: true },
      { argv: '/bin/b', ignoreErrors: false },
    ]);
    assert.equal(usecOf(second, 'InactiveExitTimestampMonotonic'), 0);
  });

  it('and from the journal: first starts and cycles, and no line that is not of its form', () => {
    const line = (fields: Record<string, string>): string => JSON.stringify({ __MONOTONIC_TIMESTAMP: '5', ...fields });
    assert.deepEqual(
      parseJournal(
        [
          'no json',
          '[]',
          line({ MESSAGE_ID: '7d4958e842da4a758f6c1cdc7b36dcc5', UNIT: DOCKER }),
          JSON.stringify({ __MONOTONIC_TIMESTAMP: '9', MESSAGE_ID: '7d4958e842da4a758f6c1cdc7b36dcc5', UNIT: DOCKER }),
          line({
            MESSAGE:
              'docker.service: Job docker-preloader.service/start deleted to break ordering cycle starting with docker.service/start',
          }),
        ].join('\n'),
      ),
      {
        firstStarts: [{ unit: DOCKER, startingUsec: 5, startedUsec: 0 }],
        cycleMessages: [
          'docker.service: Job docker-preloader.service/start deleted to break ordering cycle starting with docker.service/start',
        ],
      },
    );
  });

  for (const [path, name] of [
    ['/', '-.mount'],
    ['/var/lib/docker', 'var-lib-docker.mount'],
    ['/srv/a-b c', String.raw`srv-a\x2db\x20c.mount`],
    ['/.x', String.raw`\x2ex.mount`],
  ] as const) {
    it(`names the mount unit of ${path}`, () => assert.equal(mountUnit(path), name));
  }
});
