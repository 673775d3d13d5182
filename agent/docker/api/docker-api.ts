import type { ImageID } from '../ids.ts';
import { monotonicMs, wallMs } from '../../system/clock.ts';
import { isRecord } from '../../text/is-record.ts';
import { repositoryOf, tagOf } from '../reference.ts';
import { Connection } from './connection.ts';
import type { Response } from './response.ts';

/** What dockerd tells of an image (moby, api/types/events). */
export interface ImageEvent {
  readonly action: string;
  /** The image's ID. For a pull it is the image's name, and for a prune it is empty. */
  readonly id: string;
  /** The name that the image got or lost. */
  readonly name?: string;
  /** When it happened, CLOCK_MONOTONIC in milliseconds. */
  readonly timeMs: number;
}

/** A longer line does not come from dockerd. */
const MAX_LINE = 1024 * 1024;

/**
 * The part of dockerd's API that we use. All connections are made at once, while dockerd runs. Later, dockerd may have
 * ended, and systemd may hold its socket.
 */
export class DockerApi {
  readonly #events: Connection;
  readonly #questions: Connection;
  readonly #work: Connection;

  private constructor(events: Connection, questions: Connection, work: Connection) {
    this.#events = events;
    this.#questions = questions;
    this.#work = work;
    // When dockerd ends, it closes idle connections, and waits some seconds for those that follow events (net/http,
    // Server.Shutdown).
    for (const connection of [events, questions, work]) void connection.closed.then(() => this.close());
  }

  /** @throws system errors */
  static async connect(path: string): Promise<DockerApi> {
    const connections: Connection[] = [];
    try {
      for (let number = 0; number < 3; number += 1) connections.push(await Connection.open(path));
      const docker = new DockerApi(...(connections as [Connection, Connection, Connection]));
      // Only a connection on which there has been a request counts as idle.
      await docker.#questions.request('GET', '/_ping');
      return docker;
    } catch (error) {
      for (const connection of connections) connection.close();
      throw error;
    }
  }

  close(): void {
    for (const connection of [this.#events, this.#questions, this.#work]) connection.close();
  }

  /** The data root of this dockerd. @throws Error */
  async dataRoot(): Promise<string | undefined> {
    const info: unknown = JSON.parse(expectStatus(await this.#work.request('GET', '/info'), 200).body);
    const root = isRecord(info) ? info['DockerRootDir'] : undefined;
    return typeof root === 'string' ? root : undefined;
  }

  /**
   * Follows what happens to images, beginning when this returns.
   * @param fromStart whether what has happened since dockerd's start comes first. dockerd remembers its last 256 events
   *   (moby, daemon/events/events.go)
   * @returns a promise that resolves when the connection ends
   */
  async follow(take: (event: ImageEvent) => void, fromStart: boolean): Promise<{ readonly ended: Promise<void> }> {
    let line = '';
    let begin = (): void => undefined;
    const begun = new Promise<void>((resolve) => (begin = resolve));
    const filters = encodeURIComponent(JSON.stringify({ type: ['image'] }));
    const since = fromStart ? 'since=1&' : '';
    const ended = this.#events.stream(`/events?${since}filters=${filters}`, (text) => {
      begin();
      const lines = `${line}${text}`.split('\n');
      line = lines.pop() ?? '';
      if (line.length > MAX_LINE) return this.#events.close();
      for (const each of lines) {
        const event = parseEvent(each);
        if (event !== undefined) take(event);
      }
    });
    const over = Promise.race([
      ended.then(
        () => undefined,
        () => undefined,
      ),
      this.#events.closed,
    ]);
    await Promise.race([begun, over]);
    return { ended: over };
  }

  /**
   * Whether a prune of images is under way. We ask for a prune with a filter that does not exist, which prunes nothing.
   * dockerd checks whether another prune is under way before it checks the filter (moby, daemon/images/image_prune.go,
   * ImagesPrune), and says which of the two was the reason to refuse.
   */
  async isPruning(): Promise<boolean | undefined> {
    const filters = encodeURIComponent(JSON.stringify({ 'docker-preloader': ['1'] }));
    try {
      const { status } = await this.#questions.request('POST', `/images/prune?filters=${filters}`);
      return status === 409 ? true : status === 400 ? false : undefined;
    } catch {
      return undefined;
    }
  }

  /** Does what `docker load` does. The store shows what went wrong. @throws Error if dockerd does not answer */
  async load(archive: Buffer): Promise<string | undefined> {
    const { status, body } = await this.#work.request('POST', '/images/load?quiet=1', archive);
    return status === 200 ? /"error":"((?:[^"\\]|\\.)*)"/.exec(body)?.[1] : body.trim();
  }

  /** Does what `docker tag` does, for a name with a tag. @throws Error */
  async tag(id: ImageID, name: string): Promise<void> {
    const query = `repo=${encodeURIComponent(repositoryOf(name))}&tag=${encodeURIComponent(tagOf(name) ?? '')}`;
    expectStatus(await this.#work.request('POST', `/images/${id}/tag?${query}`), 201);
  }
}

function expectStatus(response: Response, status: number): Response {
  if (response.status !== status)
    throw new Error(`expected status ${status} of dockerd, found ${response.status}: ${response.body.trim()}`);
  return response;
}

function parseEvent(line: string): ImageEvent | undefined {
  let event: unknown;
  try {
    event = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (!isRecord(event) || event['Type'] !== 'image') return undefined;
  const { Action: action, Actor: actor, timeNano } = event;
  const { ID: id, Attributes: attributes } = isRecord(actor) ? actor : {};
  const name = isRecord(attributes) ? attributes['name'] : undefined;
  if (typeof action !== 'string' || typeof timeNano !== 'number') return undefined;
  return {
    action,
    id: typeof id === 'string' ? id : '',
    ...(typeof name === 'string' ? { name } : {}),
    timeMs: happenedAt(timeNano / 1e6),
  };
}

/**
 * dockerd says the time of day, which jumps when it is set. An event that has just come has happened after each earlier
 * jump.
 */
function happenedAt(saidMs: number): number {
  return monotonicMs() - Math.max(0, wallMs() - saidMs);
}
