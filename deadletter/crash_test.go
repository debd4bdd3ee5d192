package deadletter_test

const crashStore = "INNERMESH_DEADLETTER_CRASH"

func crashChild(string) int { return 0 }
