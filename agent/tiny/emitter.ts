type Listener<Value> = (value: Value) => void;

/** node:events, as far as sockets and what is on them need it. */
export class Emitter<Events extends object> {
  readonly #listeners = new Map<keyof Events, Listener<never>[]>();

  on<Name extends keyof Events>(name: Name, listener: Listener<Events[Name]>): this {
    this.#listeners.set(name, [...(this.#listeners.get(name) ?? []), listener]);
    return this;
  }

  /** For what happens once. */
  once<Name extends keyof Events>(name: Name, listener: Listener<Events[Name]>): this {
    return this.on(name, listener);
  }

  removeListener<Name extends keyof Events>(name: Name, listener: Listener<Events[Name]>): this {
    this.#listeners.set(
      name,
      (this.#listeners.get(name) ?? []).filter((each) => each !== listener),
    );
    return this;
  }

  emit<Name extends keyof Events>(name: Name, value: Events[Name]): void {
    for (const listener of (this.#listeners.get(name) ?? []) as Listener<Events[Name]>[]) listener(value);
  }
}
