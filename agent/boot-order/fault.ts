/** Something that is wrong with the order of the boot. */
export interface Fault {
  readonly code: FaultCode;
  readonly message: string;
  /** The command that repairs it, to be run as root. */
  readonly mend: string;
}

type FaultCode =
  | 'STARTED_EARLY'
  | 'NOT_WANTED'
  | 'NOT_ORDERED'
  | 'STARTED_ELSEWHERE'
  | 'MOUNT_ORDER'
  | 'OWN_NAMESPACE'
  | 'ORDERING_CYCLE'
  | 'NOT_STRICT'
  | 'MASKED'
  | 'NOT_INSTALLED'
  | 'BELOW_DATA_ROOT'
  | 'OTHER_STORE';
