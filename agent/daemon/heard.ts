import type { ImageEvent } from '../docker/api/docker-api.ts';
import { asImageID, type ImageID } from '../docker/ids.ts';
import { delay } from '../system/clock.ts';

/** dockerd reports what it has done for us within this time, or not at all. */
const HEARD_MS = 2000;
const LISTEN_MS = 10;
const LATE_MS = 100;

/** A name that we have given to an image. */
export interface GivenName {
  readonly name: string;
  readonly id: ImageID;
  /** When we saw that the name was free, CLOCK_MONOTONIC in milliseconds. */
  readonly freeMs: number;
}

/** The events that dockerd sends while something is restored. */
export class Heard {
  readonly #loads = new Map<string, number>();
  readonly #pulls = new Set<string>();
  /** For each name, to which images it was given, and when. */
  readonly #tags = new Map<string, { readonly id: string; readonly timeMs: number }[]>();
  #isListening = false;

  take({ action, id, name, timeMs }: ImageEvent): void {
    if (!this.#isListening) return;
    if (action === 'load') this.#loads.set(id, (this.#loads.get(id) ?? 0) + 1);
    else if (action === 'pull') this.#pulls.add(id);
    else if (action === 'tag' && name !== undefined)
      this.#tags.set(name, [...(this.#tags.get(name) ?? []), { id, timeMs }]);
  }

  begin(): void {
    this.#isListening = true;
    this.#loads.clear();
    this.#pulls.clear();
    this.#tags.clear();
  }

  /**
   * Waits until dockerd has reported all of these loads and tags, and so everything that happened before the last of
   * them.
   */
  async until(images: readonly ImageID[], given: readonly GivenName[]): Promise<void> {
    const hasAll = (): boolean =>
      images.every((id) => this.#loads.has(id)) &&
      given.every(({ name, id }) => this.#tags.get(name)?.some((tag) => tag.id === id) === true);
    for (let waited = 0; !hasAll() && waited < HEARD_MS; waited += LISTEN_MS) await delay(LISTEN_MS);
    // dockerd gives a name, takes the time, and then sends the event, so events may arrive in another order.
    if (given.length > 0) await delay(LATE_MS);
    this.#isListening = false;
  }

  /** Whether somebody else has also loaded or pulled the image meanwhile. */
  isOthers(id: ImageID, names: ReadonlyMap<string, ImageID>): boolean {
    return (this.#loads.get(id) ?? 0) > 1 || [...this.#pulls].some((name) => names.get(name) === id);
  }

  /** The image to which somebody else has given the name since we saw that it was free. */
  othersUnder({ name, id, freeMs }: GivenName): ImageID | undefined {
    return asImageID(this.#tags.get(name)?.findLast((tag) => tag.id !== id && tag.timeMs >= freeMs)?.id);
  }
}
