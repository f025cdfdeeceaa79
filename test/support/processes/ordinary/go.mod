module ordinary

go 1.19
