// refused: no member named 'close'
int main() { return nothing; }
