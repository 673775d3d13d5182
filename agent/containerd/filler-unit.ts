/** The unit that fills containerd's store, before whoever uses it. */
export const FILLER = 'docker-preloader-containerd.service';
/** They start a containerd of their own, which a private one stands in for until then. */
export const WITH_OWN_CONTAINERD: readonly string[] = [
  'k3s.service',
  'k3s-agent.service',
  'rke2-server.service',
  'rke2-agent.service',
];

/** The command that has whoever uses containerd wait for that unit. @param user which starts a containerd of its own, if there is one */
export function enableFiller(user: string | undefined): string {
  return user === undefined ? 'systemctl enable docker-preloader-containerd' : `systemctl add-wants ${user} ${FILLER}`;
}
