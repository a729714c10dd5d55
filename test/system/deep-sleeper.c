/* Says so, and sleeps in the kernel, where no signal wakes it, until a byte is typed; says that, and waits for another. */
int vfork(void);
long read(int fd, void *buffer, unsigned long bytes);
long write(int fd, const void *buffer, unsigned long bytes);
void _exit(int status);

static char typed;

int main(void)
{
    write(1, "asleep\n", 7);
    if (vfork() == 0) {
        read(0, &typed, 1);
        _exit(0);
    }
    write(1, "awake\n", 6);
    read(0, &typed, 1);
    return 0;
}
