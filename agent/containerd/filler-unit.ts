/** The unit that fills containerd's store, before whoever uses it. */
export const FILLER = 'docker-preloader-containerd.service';
/** Units that start a containerd of their own. Until then, a private one stands in for it. */
export const WITH_OWN_CONTAINERD: readonly string[] = [
  'k3s.service',
  'k3s-agent.service',
  'rke2-server.service',
  'rke2-agent.service',
];

/**
 * The command that makes whoever uses containerd wait for that unit.
 * @param user a unit that starts a containerd of its own, if there is one
 */
export function enableFiller(user: string | undefined): string {
  return user === undefined ? 'systemctl enable docker-preloader-containerd' : `systemctl add-wants ${user} ${FILLER}`;
}
