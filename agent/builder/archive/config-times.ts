import { isRecord } from '../../text/is-record.ts';

/** A time in JSON as Go reads it since 1.20 (time/format_rfc3339.go, parseStrictRFC3339). */
const RFC3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/;

/**
 * Checks the times in an image's configuration. If one is invalid, dockerd rejects the whole configuration and does not
 * have the image (moby, image/image.go, NewFromJSON).
 * @throws Error
 */
export function checkTimes(config: Buffer): void {
  const document: unknown = JSON.parse(config.toString('utf8'));
  if (!isRecord(document)) return;
  check('created', document['created']);
  const { history } = document;
  if (!Array.isArray(history)) return;
  history.forEach((step: unknown, index) =>
    check(`history[${index}].created`, isRecord(step) ? step['created'] : null),
  );
}

function check(what: string, time: unknown): void {
  if (time === undefined || time === null) return;
  if (typeof time !== 'string' || !RFC3339.test(time) || Number.isNaN(Date.parse(time)))
    throw new Error(
      `${what}: expected a time as in 2020-01-02T03:04:05Z, found ${JSON.stringify(time).slice(0, 100)}: ` +
        'docker load refuses it, too',
    );
}
