// refused: anything
int main() { return 0; }
