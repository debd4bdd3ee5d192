package saga_test

const crashLog = "INNERMESH_SAGA_CRASH"

func crashChild(string) int { return 1 }
