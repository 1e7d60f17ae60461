// The name by which the agent runs its weekly look; alone, so that the command line knows it and loads nothing.

/** The hidden command that looks: a request on stdin, findings on stdout. */
export const DOCTOR_COMMAND = "doctor-look";
